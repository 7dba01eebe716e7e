"""The sentences of a report, and the format of the numbers in them."""
