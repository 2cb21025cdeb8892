"""Pictures → a clean, credited, split dataset. Never imports torch."""
