"""What the pages of collections share: which suites they are of, what these asked, and what the records say to that."""
