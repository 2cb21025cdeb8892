"""The polite way to other hosts: addresses, budgets, robots, retries, answers, archives."""
