"""A connector in another package that borrows: one asset, pledged and lent by the same house."""
