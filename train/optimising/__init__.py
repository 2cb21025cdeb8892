"""What every training loop shares: layers, rates, balance, several processes, a run that can be resumed."""
