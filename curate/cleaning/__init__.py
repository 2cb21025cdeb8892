"""How `clean` decides what leaves: policies, conflicts, plans and moves."""
