"""What a fault test measured, printed as a line that the table of docs/faults.md is made from."""


def tell(fault: str, **found: object) -> None:
    words = [f"{name} {value:.1f}" if isinstance(value, float) else f"{name}: {value}" for name, value in found.items()]
    print(f"\nFAULT {fault} | {'; '.join(words)}")
