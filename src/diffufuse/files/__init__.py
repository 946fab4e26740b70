"""Files that appear whole or not at all; tables in their schema; records without NaN."""
