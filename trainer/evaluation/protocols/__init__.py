"""The paper's other measurements, on data that their user brings.

Each module has the measurement as functions of embeddings, and a reader of the file that says what belongs to what.
`running.PROTOCOLS` runs them on a model by name.
"""
