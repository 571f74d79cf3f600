//! Placeholder header, replaced by its first commit.
