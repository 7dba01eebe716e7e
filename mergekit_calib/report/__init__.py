"""The report of a sweep, made from its `Frontier` alone: text, tables, figures, page, model card, terminal output."""
