"""Training CLIP on shards: model, tokenizer, streaming loader, loss, loop and zero-shot evaluation."""
