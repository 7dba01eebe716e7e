"""The result of a sweep as data (`frontier.json`), and the events that a running sweep reports."""
