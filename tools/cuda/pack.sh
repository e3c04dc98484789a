#!/usr/bin/env bash
# pack.sh [OUT.tar.xz]: a folder that measures on a Linux x64 machine with an NVIDIA GPU and neither .NET nor network.
# It holds tools/bench and tools/intscale, self-contained, ONNX Runtime with its CUDA provider, and env.sh, which finds CUDA's libraries.
set -euo pipefail
out=$(realpath -m "${1:-out/intscale-cuda.tar.xz}")
cd "$(dirname "$0")/../.."

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
for tool in bench intscale; do
  dotnet publish "tools/$tool" -c Release -r linux-x64 --self-contained -p:OrtCuda=true -o "$stage/intscale-cuda" -v quiet -nologo
done
cp tools/cuda/env.sh "$stage/intscale-cuda/"
rm -f "$stage"/intscale-cuda/*.xml "$stage"/intscale-cuda/*.pdb

[ -e "$stage/intscale-cuda/libonnxruntime_providers_cuda.so" ] || {
  echo "pack.sh: ONNX Runtime's package here has no CUDA provider; -p:OrtCuda=true should have got one (tools/onnxruntime-feed/README.md)" >&2
  exit 1
}
mkdir -p "$(dirname "$out")"
tar -C "$stage" -cf - intscale-cuda | xz -T0 -6 > "$out"
ls -lh "$out"
