"""Pages of results: one HTML file each, which loads nothing and runs no script but its own.

Here is what any page has: frame, style, script, tables that sort, pictures that enlarge, charts.
What a page says is in the package of its stage, in a template that extends ``frame.html.jinja``.
"""
