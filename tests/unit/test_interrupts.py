"""Ctrl-C and SIGTERM, in a process of their own."""

import subprocess
import sys
import textwrap

import pytest


def run(script: str) -> "subprocess.CompletedProcess[str]":
    text = "import os, signal, sys, time\nfrom harness import interrupts\n" + textwrap.dedent(script)
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False, timeout=30)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_first_is_answered_and_the_next_ignored(name: str) -> None:
    """Cleaning up after the first is not interrupted by a second."""
    done = run(f"""
        interrupts.let_in()
        try:
            os.kill(os.getpid(), signal.{name})
            time.sleep(5)
        except KeyboardInterrupt:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            print("cleaned up")
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "cleaned up\n", "")


def test_one_that_is_held_back_comes_after_the_block() -> None:
    """Between starting a thing and owning it nothing interrupts."""
    done = run("""
        interrupts.let_in()
        owned = False
        try:
            with interrupts.held_back():
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.05)
                owned = True
            print("not reached")
        except KeyboardInterrupt:
            print("owned" if owned else "lost")
    """)
    assert (done.returncode, done.stdout) == (0, "owned\n")


def test_one_in_the_midst_of_an_import_waits_for_its_end() -> None:
    """A module is imported whole or not begun; the interrupt is answered afterwards."""
    done = run("""
        import types
        class Finder:
            @staticmethod
            def find_spec(name, path=None, target=None):
                if name == "slow_one":
                    os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(0.1)
                    from importlib.machinery import ModuleSpec
                    return ModuleSpec(name, Finder)
            @staticmethod
            def create_module(spec):
                return None
            @staticmethod
            def exec_module(module):
                module.whole = True
        sys.meta_path.insert(0, Finder)
        interrupts.let_in()
        try:
            import slow_one
            time.sleep(5)
            print("not reached")
        except KeyboardInterrupt:
            print(sys.modules["slow_one"].whole)
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_one_that_came_during_an_import_is_answered_between_steps_too() -> None:
    """It asks again when the steps have begun, and waits for their end like any other."""
    done = run("""
        class Finder:
            @staticmethod
            def find_spec(name, path=None, target=None):
                if name == "slow_one":
                    os.kill(os.getpid(), signal.SIGINT)
        sys.meta_path.insert(0, Finder)
        interrupts.let_in()
        try:
            try:
                import slow_one
            except ImportError:
                pass
            with interrupts.between_steps():
                time.sleep(0.1)
                print("a whole step")
                interrupts.stop_if_asked()
            print("not reached")
        except KeyboardInterrupt:
            print("stopped")
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "a whole step\nstopped\n", "")


def test_children_inherit_nothing_of_it() -> None:
    """What is started while they are held back can be interrupted as ever."""
    done = run("""
        import subprocess
        interrupts.let_in()
        with interrupts.held_back():
            child = subprocess.Popen(["sleep", "20"])
        child.terminate()
        print(child.wait())
    """)
    assert (done.returncode, done.stdout) == (0, "-15\n")
