"""What the stand-in's compiler raises."""


class CompileException(Exception):
    pass
