"""What people look at and decide on: a review page, a report, a page that answers."""
