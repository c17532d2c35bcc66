"""Opens candle sources, accounts and channels as the settings ask."""
