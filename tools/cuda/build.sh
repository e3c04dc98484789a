#!/usr/bin/env bash
# Compiles the CUDA kernels, Onnx.IntScale/Kernels/Cuda/*.cu, into Compiled/ beside them: machine code for sm_90a (H100, H200) and PTX
# for compute_80, which drivers compile for every other GPU. The results are committed, so that building the library takes no CUDA.
#
#   tools/cuda/build.sh [FOLDER]     into another folder; NVCC names the compiler, nvcc by default (13.0 or later)
#
# Prints registers, stack and shared memory of every kernel. Fails when a kernel spills more than a few registers, or when ptxas serializes wgmma.
set -euo pipefail
cd "$(dirname "$0")/../.."
sources=Onnx.IntScale/Kernels/Cuda
out=${1:-$sources/Compiled}
nvcc=${NVCC:-nvcc}
command -v "$nvcc" >/dev/null || { echo "error: $nvcc was not found; install the CUDA toolkit, or set NVCC" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

flags=(-std=c++17 -O3)
names=()
jobs=()
start() { # NAME COMMAND...: runs in the background, its output to a log
  local name=$1
  shift
  "$@" >"$work/$name.log" 2>&1 &
  names+=("$name")
  jobs+=($!)
}

for source in "$sources"/*.cu; do
  module=$(basename "$source" .cu)
  # mma is for GPUs before and after Hopper, wgmma for Hopper alone.
  if [ "$module" != mma ]; then
    start "$module.sm_90a.cubin" "$nvcc" "${flags[@]}" --cubin -gencode=arch=compute_90a,code=sm_90a -Xptxas -v -o "$work/$module.sm_90a.cubin" "$source"
  fi
  if [[ $module != wgmma_* ]]; then
    start "$module.compute_80.ptx" "$nvcc" "${flags[@]}" --ptx -arch=compute_80 -o "$work/$module.compute_80.ptx" "$source"
    # Only to see what becomes of the PTX.
    start "$module.sm_80" "$nvcc" "${flags[@]}" --cubin -arch=sm_80 -Xptxas -v -o "$work/$module.sm_80" "$source"
  fi
done

failed=0
for i in "${!jobs[@]}"; do
  name=${names[$i]}
  log=$work/$name.log
  if ! wait "${jobs[$i]}"; then
    echo "error: $name" >&2
    cat "$log" >&2
    failed=1
    continue
  fi
  grep -vE '^ptxas info|^ +[0-9]+ bytes stack frame|^$' "$log" >&2 || true
  # One line a kernel: module, kernel, registers and memory, stack and spills.
  awk -v module="$name" '
    /Compiling entry function/ { split($0, quoted, "\047"); kernel = quoted[2] }
    /bytes stack frame/ { gsub(/^ +/, ""); stack = $0 }
    /Used [0-9]+ registers/ { sub(/^ptxas info +: /, ""); printf "%-24s %-40s %s; %s\n", module, kernel, $0, stack }' "$log"
  # A few registers kept aside over a loop cost nothing that can be measured; more would.
  if ! awk -v most=256 '{ for (i = 1; i < NF; i++) if ($(i + 1) == "bytes" && $(i + 2) == "spill" && $i + 0 > most) exit 1 }' "$log"; then
    echo "error: $name spills registers" >&2
    failed=1
  fi
  if grep -qE 'C75(08|1[0-8])' "$log"; then
    echo "error: $name: ptxas serializes wgmma" >&2
    failed=1
  fi
done
[ $failed -eq 0 ] || exit 1

# All or nothing, and nothing left of modules that are no more.
mkdir -p "$out"
rm -f "$out"/*.cubin "$out"/*.ptx
cp "$work"/*.cubin "$work"/*.ptx "$out"/
# A test compares this with the sources.
(cd "$sources" && printf '%s\0' *.cu *.cuh | LC_ALL=C sort -z | xargs -0 cat | sha256sum | cut -d ' ' -f 1) >"$out/SOURCES.sha256"
"$nvcc" --version | grep release
ls -l "$out"
