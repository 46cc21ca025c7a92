"""Reports for regulators and the bureau: what was asked, refused, paid, changed and found."""
