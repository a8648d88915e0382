"""A probe of the database: does it take what enroll and tick write."""
