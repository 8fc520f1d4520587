"""f16 weights through torch.matmul.   python3 torch_f16.py 4096x28672 14336x4096 --m 1,16,4096 > torch.json"""
import torch
from measure import arguments, copies_of, run


def make(k, n):
    weights = copies_of(torch.randn(n, k, device='cuda', dtype=torch.float16) * 0.02)
    return 2 * n * k, len(weights), weights[0], lambda i, x: torch.matmul(x, weights[i].t())


if __name__ == '__main__':
    run('torch f16', 'f16', *arguments(__doc__), make)
