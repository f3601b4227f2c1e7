# ruff: noqa: E501
"""The four example plugins of the first manual, letter for letter: they must always load."""

MY_GPU = """\
# plugins/devices/my_gpu.py
from plugins.devices.Base_Class import DevicePlugin

class MyGPUDevice(DevicePlugin):
    def __init__(self):
        super().__init__("my_gpu")  # 设备标识符

    def is_online(self) -> bool:
        # 实现设备在线检查逻辑
        return True

    def get_memory_info(self) -> Tuple[int, int, int]:
        # 返回 (总内存, 可用内存, 已用内存) 单位MB
        return 16384, 8192, 8192
"""
"""Names `Tuple` without importing it."""

MY_MODE = """\
# plugins/interfaces/my_mode.py
from plugins.interfaces.Base_Class import InterfacePlugin

class MyModeInterface(InterfacePlugin):
    def __init__(self, model_manager=None):
        super().__init__("MyMode", model_manager)

    def health_check(self, model_alias: str, port: int, start_time: float, timeout_seconds: int):
        # 实现健康检查逻辑
        return True, "MyMode接口健康"

    def get_supported_endpoints(self) -> set:
        return {"v1/mymode/completions"}

    def validate_request(self, path: str, model_alias: str):
        if "v1/mymode/completions" not in path:
            return False, f"模型 '{model_alias}' 是 'MyMode' 模式, 只支持 MyMode 接口"
        return True, ""
"""

MY_DEVICE = """\
# plugins/devices/my_device.py
from typing import Tuple
from plugins.devices.Base_Class import DevicePlugin

class MyDevice(DevicePlugin):
    def __init__(self):
        super().__init__("my_device")

    def is_online(self) -> bool:
        return True

    def get_memory_info(self) -> Tuple[int, int, int]:
        return 16384, 8192, 8192
"""

MY_INTERFACE = """\
# plugins/interfaces/my_interface.py
import openai
import time
from typing import Tuple
from plugins.interfaces.Base_Class import InterfacePlugin

class MyInterface(InterfacePlugin):
    def __init__(self, model_manager=None):
        super().__init__("MyInterface", model_manager)

    def health_check(self, model_alias: str, port: int, start_time: float = None, timeout_seconds: int = 300) -> Tuple[bool, str]:
        try:
            client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="dummy-key")
            client.models.list(timeout=3.0)
            return True, "MyInterface接口健康"
        except Exception as e:
            return False, f"MyInterface接口异常: {e}"

    def get_supported_endpoints(self) -> set:
        return {"v1/myinterface/completions"}

    def validate_request(self, path: str, model_alias: str) -> Tuple[bool, str]:
        if "v1/myinterface/completions" not in path:
            return False, f"模型 '{model_alias}' 是 'MyInterface' 模式, 只支持 MyInterface 接口"
        return True, ""
"""
"""Needs the package openai."""
