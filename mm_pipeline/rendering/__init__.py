"""Terminal tables, HTML, Markdown and study charts: what people read, made of plain values."""
