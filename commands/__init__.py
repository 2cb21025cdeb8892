"""The commands of each stage. They import what is heavy only when they run."""
