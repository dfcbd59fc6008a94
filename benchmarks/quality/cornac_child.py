"""Trains Cornac's BPR or VBPR; run by the python of Cornac's own environment, which has no visrec.

    python cornac_child.py BPR IN.npz OUT.npz '{"k": 64, …}'

IN: `users` and `items` int64 [n], the liked interactions of training; `features` float32 [N, d]. OUT: float32
`users` [U, k], `items` [N, k] and `bias` [N], so that users @ items.T + bias are the scores.
"""

from __future__ import annotations

import json
import sys

import cornac  # type: ignore[import-not-found, unused-ignore]
import numpy as np
from cornac.data import Dataset, ImageModality  # type: ignore[import-not-found, unused-ignore]


def main(model: str, source: str, out: str, options: str) -> None:
    """Train, and write the factors."""
    with np.load(source) as given:
        users, items, features = given["users"], given["items"], given["features"]
    pairs = np.stack([users, items], axis=1).tolist()
    data = Dataset.from_uir([(user, item, 1.0) for user, item in pairs])
    if model == "VBPR":
        known = np.asarray(list(data.iid_map))  # in the order of Cornac's own rows
        modality = ImageModality(features=features[known], ids=known.tolist(), normalized=False)
        data.add_modalities(item_image=modality.build(id_map=data.iid_map))
    trained = getattr(cornac.models, model)(**json.loads(options)).fit(data)
    user_rows, item_rows = (np.asarray(list(rows)) for rows in (data.uid_map, data.iid_map))
    if model == "BPR":
        parts = (trained.u_factors, trained.i_factors, trained.i_biases)
    else:
        parts = (trained.gamma_user, trained.gamma_item, trained.beta_item)
    placed_users = np.zeros((users.max() + 1, parts[0].shape[1]), np.float32)
    placed_items = np.zeros((len(features), parts[1].shape[1]), np.float32)
    bias = np.zeros(len(features), np.float32)
    placed_users[user_rows], placed_items[item_rows], bias[item_rows] = parts
    if model == "VBPR":  # what pictures say holds for new items too
        looks = np.zeros((len(placed_users), trained.theta_user.shape[1]), np.float32)
        looks[user_rows] = trained.theta_user
        placed_users = np.concatenate([placed_users, looks], axis=1)
        placed_items = np.concatenate([placed_items, features @ trained.emb_matrix], axis=1)
        bias += (features @ trained.beta_prime).ravel()
    np.savez(out, users=placed_users, items=placed_items, bias=bias)


if __name__ == "__main__":
    main(*sys.argv[1:])
