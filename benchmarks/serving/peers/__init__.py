"""The servers that a user might pick instead, each tuned as its own documentation recommends.

All get the same request, a JSON object over HTTP: `image`, a JPEG of 224 x 224 pixels in base64; `history`,
item ids; `text`, what was typed. All answer with the ids and scores of the items, as JSON. All prepare
pictures with visrec's own client code, and run the same graphs (FastAPI + PyTorch: the model they came from).
"""
