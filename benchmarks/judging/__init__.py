"""Does the judging keep its promises? Each module holds experiments; `python -m benchmarks.judging` runs them."""
