"""Learning to recommend from pictures, words and behaviour, in PyTorch.

Data flows one way: `data` (tables) → `regions` (encoder features, cached) → `split` → `examples` (batches) →
`train` → `checkpoint` → `evaluate`. The model is `encoder` → `attention` → `item_tower` and `query_tower` →
`fusion_scorer`.
"""
