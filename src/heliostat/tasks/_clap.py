"""CLAP's audio tower with a linear classifier on its embedding, which transformers has no class for.

This file travels with every export of it, so that plain transformers opens the model with `trust_remote_code=True`: it needs
transformers and torch alone.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForAudioClassification, ClapConfig
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.clap.modeling_clap import ClapAudioModel, ClapPreTrainedModel, ClapProjectionLayer


class ClapForAudioClassification(ClapPreTrainedModel):
    """Classes for recordings of up to ten seconds, from the embedding that CLAP (Wu et al., 2023, arXiv:2211.06687) shares with texts.

    Its weights have the names they have in `ClapModel`; the text tower is left out.
    """

    config_class = ClapConfig
    main_input_name = "input_features"
    input_modalities = "audio"
    _keys_to_ignore_on_load_unexpected = [r"text_model\..*", r"text_projection\..*", r"logit_scale_.*"]

    def __init__(self, config: ClapConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.audio_model = ClapAudioModel(config.audio_config)
        self.audio_projection = ClapProjectionLayer(config.audio_config)
        self.classifier = torch.nn.Linear(config.projection_dim, config.num_labels)
        self.post_init()

    def embed(self, input_features: torch.Tensor, is_longer: torch.Tensor | None = None) -> torch.Tensor:
        """The embeddings [clips, projection], before they are brought to length one, of spectrograms [clips, 1 or 4, frames, mel bins].

        `is_longer` [clips, 1] says which clips have three cuts of a longer recording in channels 1 to 3; None is no clip.
        """
        if is_longer is None:
            is_longer = torch.zeros(len(input_features), 1, dtype=torch.bool, device=input_features.device)
        return self.audio_projection(self.audio_model(input_features=input_features, is_longer=is_longer).pooler_output)

    def forward(
        self,
        input_features: torch.Tensor,
        is_longer: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **unused: Any,
    ) -> SequenceClassifierOutput:
        """Logits [clips, classes]; with `labels` [clips], the cross-entropy too."""
        logits = self.classifier(self.embed(input_features, is_longer))
        loss = None if labels is None else torch.nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


ClapForAudioClassification.register_for_auto_class("AutoModelForAudioClassification")
AutoModelForAudioClassification.register(ClapConfig, ClapForAudioClassification, exist_ok=True)
