"""The operator's page as HTML: values of the use cases to cards, drawings and templates. No journal, no web server."""
