"""What the product knows: pure functions over bars, grids and policies.

Imports no orchestration, exchange, SQL, HTTP or clock; every time it needs is an argument.
"""
