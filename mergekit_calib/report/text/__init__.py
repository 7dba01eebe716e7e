"""The sentences of a report, and the formats of the numbers and names in them."""
