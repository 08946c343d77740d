"""Row softmax, pairwise links and MW's table: what objectives and scaling are made of. Plain package."""
