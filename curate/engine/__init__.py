"""Where work runs: in processes of this machine, or on Ray; the functions are the same."""
