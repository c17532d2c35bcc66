"""KuCoin's dialect: paths, signatures and bodies as the real exchange has them."""
