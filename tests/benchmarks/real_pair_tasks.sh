#!/bin/sh
# The table of lm_eval_tasks/README.md: base, aligned and λ = 0.5 of a real pair on calib_arc_easy and calib_diversity.
# Usage: real_pair_tasks.sh BASE ALIGNED OUT [ARC_EASY_LIMIT [PROMPTS [MAX_GEN_TOKS]]]
set -eu
base=$1 aligned=$2 out=$3 items=${4:-300} prompts=${5:-40} tokens=${6:-48}
mkdir -p "$out"
cat >"$out/half.yml" <<YAML
merge_method: calibration_sweep
base_model: $base
models:
  - model: $aligned
parameters: {lambda: 0.5}
dtype: bfloat16
YAML
[ -e "$out/half/model.safetensors" ] || mergekit-yaml "$out/half.yml" "$out/half"
for model in "$base" "$out/half" "$aligned"; do
  lm_eval run --model hf-prefix --model_args "pretrained=$model,dtype=float32" \
    --tasks calib_arc_easy --limit "$items" --log_samples --output_path "$out"
  lm_eval run --model hf-prefix --model_args "pretrained=$model,dtype=float32" \
    --tasks calib_diversity --limit "$prompts" --gen_kwargs "max_gen_toks=$tokens" --log_samples --output_path "$out"
done
