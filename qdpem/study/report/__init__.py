"""Results for people: terminal tables, Markdown, CSV, figures and the HTML report."""
