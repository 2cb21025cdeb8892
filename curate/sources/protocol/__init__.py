"""What every source has to give, and what all of them read in the same way: licences, picture URLs, records."""
