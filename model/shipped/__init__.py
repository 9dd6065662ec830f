"""How the networks in pretrain/ were trained."""
