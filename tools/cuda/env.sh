# Source this before bench or intscale: `. intscale-cuda/env.sh`. It puts the tools and the libraries of CUDA 13 where they are looked for.
# CUDA_LIBRARIES names their folders, with colons between; by default those of pip's nvidia packages, where there are any.
_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ -z "${CUDA_LIBRARIES:-}" ]; then
  CUDA_LIBRARIES=$(python3 -c '
import glob, site
print(":".join(d for p in site.getsitepackages() + [site.getusersitepackages()] for d in sorted(glob.glob(p + "/nvidia/*/lib"))))' 2>/dev/null)
fi
export PATH="$_here:$PATH"
export LD_LIBRARY_PATH="$_here${CUDA_LIBRARIES:+:$CUDA_LIBRARIES}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
_missing=$(ldd "$_here/libonnxruntime_providers_cuda.so" 2>/dev/null | sed -n 's/^[[:space:]]*\(.*\) => not found/\1/p' | tr '\n' ' ')
if [ -n "$_missing" ]; then echo "env.sh: not found: $_missing; set CUDA_LIBRARIES to the folders that hold them" >&2; fi
unset _here _missing
