"""One label per text."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from heliostat.tasks.base import Base

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class TextClassification(Base):
    """One label per text, with any Hugging Face encoder."""

    max_tokens: int = Field(128, ge=8, le=131_072)
    """Longer texts are cut at the end."""

    def columns(self) -> dict[str, str]:
        return {"text": "what is classified", "label": "its class"}

    def problems(self, model: Any) -> list[str]:
        most = model.positions()
        if most is None or self.max_tokens <= most:
            return []
        return [f"task.max_tokens: {self.max_tokens} asked for, and '{model.path}' reads at most {most}. Allowed: 8 to {most}."]

    def model(self, folder: str, labels: list[str] | None, layers: int | None, revision: str = "main") -> tuple[Any, list[str]]:
        from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

        config = AutoConfig.from_pretrained(folder, revision=revision)
        if layers is not None:
            config.num_hidden_layers = min(layers, config.num_hidden_layers)
        if labels is None:
            return AutoModel.from_pretrained(folder, config=config, revision=revision, dtype="float32"), []
        config.num_labels = len(labels)
        config.id2label = dict(enumerate(labels))
        config.label2id = {name: i for i, name in enumerate(labels)}
        config.problem_type = "single_label_classification"
        module, info = AutoModelForSequenceClassification.from_pretrained(
            folder, config=config, revision=revision, dtype="float32", output_loading_info=True, ignore_mismatched_sizes=True
        )
        return module, [*info["missing_keys"], *(key[0] for key in info["mismatched_keys"])]

    def tokenise(self, columns: dict[str, list[Any]], tokenizer: Any, labels: list[str]) -> dict[str, list[Any]]:
        encoded = tokenizer(columns["text"], truncation=True, max_length=self.max_tokens, padding=False, return_attention_mask=False)
        index = {name: i for i, name in enumerate(labels)}
        return {
            "input_ids": encoded["input_ids"],
            "labels": [index.get(label, -100) for label in columns.get("label", [""] * len(columns["text"]))],
        }

    def collate(self, rows: dict[str, list[Any]], pad_id: int) -> dict[str, Any]:
        import torch

        ids = rows["input_ids"]
        longest = max(map(len, ids))
        input_ids_BT = torch.full((len(ids), longest), pad_id, dtype=torch.long)
        mask_BT = torch.zeros((len(ids), longest), dtype=torch.long)
        for i, row in enumerate(ids):
            input_ids_BT[i, : len(row)] = torch.as_tensor(row, dtype=torch.long)
            mask_BT[i, : len(row)] = 1
        return {"input_ids": input_ids_BT, "attention_mask": mask_BT, "labels": torch.as_tensor(rows["labels"], dtype=torch.long)}

    def logits(self, module: Any, batch: dict[str, Any]) -> Any:
        return module(**{k: batch[k] for k in INPUTS if k in batch}).logits

    def embed(self, module: Any, batch: dict[str, Any]) -> Any:
        import torch

        encoder = getattr(module, module.base_model_prefix, module)
        hidden_BTD = encoder(**{k: batch[k] for k in INPUTS if k in batch}).last_hidden_state
        mask_BT1 = batch["attention_mask"].unsqueeze(-1).to(hidden_BTD.dtype)
        mean_BD = (hidden_BTD * mask_BT1).sum(1) / mask_BT1.sum(1).clamp(min=1)
        return torch.nn.functional.normalize(mean_BD.float(), dim=-1)
