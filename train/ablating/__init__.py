"""What `ablate` needs: which pictures each arm learns from, paired differences, and the flattery of leaks."""
