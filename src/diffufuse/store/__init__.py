"""Storage of prepared cases, with access to single slices and 3-D patches."""
