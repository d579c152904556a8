"""Which question is learnt when: curves of single items by loss, an item response model, the order of abilities."""
