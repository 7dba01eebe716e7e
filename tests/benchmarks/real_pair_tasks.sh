#!/bin/sh
# Score base, aligned and their merge at λ = 0.5 on calib_arc_easy and calib_diversity.
#
#   tests/benchmarks/real_pair_tasks.sh BASE ALIGNED OUT [ARC_EASY_LIMIT [PROMPTS [MAX_GEN_TOKS]]]
#
# The limits default to 300 questions, 40 prompts and 48 tokens a completion. OUT gets the merged model and lm-eval's
# results with the logged samples, which `mergekit-calib score --from` compares in pairs.
set -eu
if [ $# -lt 3 ]; then
  sed -n '2,$s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
base=$1 aligned=$2 out=$3 items=${4:-300} prompts=${5:-40} tokens=${6:-48}
mkdir -p "$out"
cat >"$out/merged.yml" <<YAML
merge_method: calibration_sweep
base_model: $base
models:
  - model: $aligned
parameters: {lambda: 0.5}
dtype: bfloat16
YAML
[ -e "$out/merged/model.safetensors" ] || mergekit-yaml "$out/merged.yml" "$out/merged"
for model in "$base" "$out/merged" "$aligned"; do
  lm_eval run --model hf-prefix --model_args "pretrained=$model,dtype=float32" \
    --tasks calib_arc_easy --limit "$items" --log_samples --output_path "$out"
  lm_eval run --model hf-prefix --model_args "pretrained=$model,dtype=float32" \
    --tasks calib_diversity --limit "$prompts" --gen_kwargs "max_gen_toks=$tokens" --log_samples --output_path "$out"
done
