"""A small vision transformer with random weights, for pictures of 28 x 28 grey pixels: what images.yaml starts from.

python configs/examples/small_vit.py models/small-vit
"""

import sys

import torch
from transformers import ViTConfig, ViTImageProcessorPil, ViTModel

SIDE = 28

if __name__ == "__main__":
    (folder,) = sys.argv[1:]
    torch.manual_seed(7)
    shape = {"hidden_size": 128, "num_hidden_layers": 6, "num_attention_heads": 4, "intermediate_size": 384}
    model = ViTModel(ViTConfig(image_size=SIDE, patch_size=4, num_channels=1, **shape), add_pooling_layer=False)
    model.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}, image_mean=[0.286], image_std=[0.353]).save_pretrained(folder)
    print(f"{folder}: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters")
