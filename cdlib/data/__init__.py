"""The data: photographs or drawn images -> one prepared array a split (paper sec. 4)."""
