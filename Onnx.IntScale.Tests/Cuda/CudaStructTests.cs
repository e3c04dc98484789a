using System.Runtime.InteropServices;

namespace Onnx.IntScale.Tests;

/// <summary>Structs that the driver and the kernels read are laid out as C compilers lay them out.</summary>
public unsafe class CudaStructTests
{
    [Fact]
    public void CudaParams_IsStructParamsOfTheKernels()
    {
        string[] pointers = ["A", "B", "Scales", "ChannelScales", "ZeroPoints", "Bias", "Y", "A8", "AScales"];
        string[] ints = ["M", "N", "K", "KBlocks", "BlockSize", "Bits", "Type", "A8Rows"];
        Assert.Equal(104, sizeof(CudaParams));
        for (var i = 0; i < pointers.Length; i++) Assert.Equal(8 * i, Offset<CudaParams>(pointers[i]));
        for (var i = 0; i < ints.Length; i++) Assert.Equal((8 * pointers.Length) + (4 * i), Offset<CudaParams>(ints[i]));
    }

    [Fact]
    public void CudaLaunchConfig_IsCUlaunchConfig()
    {
        Assert.Equal(56, sizeof(CudaLaunchConfig));
        Assert.Equal([0, 4, 8, 12, 16, 20, 24], ((string[])["GridX", "GridY", "GridZ", "BlockX", "BlockY", "BlockZ", "SharedBytes"]).Select(Offset<CudaLaunchConfig>));
        Assert.Equal([32, 40, 48], ((string[])["Stream", "Attributes", "AttributeCount"]).Select(Offset<CudaLaunchConfig>));
    }

    [Fact]
    public void CudaLaunchAttribute_IsCUlaunchAttribute()
    {
        // A number, padding to 8 bytes, a union of 64.
        Assert.Equal(72, sizeof(CudaLaunchAttribute));
        Assert.Equal([0, 8, 12, 16], ((string[])["Id", "X", "Y", "Z"]).Select(Offset<CudaLaunchAttribute>));
        var two = stackalloc CudaLaunchAttribute[2];
        Assert.Equal(72, (byte*)(two + 1) - (byte*)two);
        Assert.Equal((4, 2, 1, 1), (CudaLaunchAttribute.Cluster(2).Id, CudaLaunchAttribute.Cluster(2).X, CudaLaunchAttribute.Cluster(2).Y, CudaLaunchAttribute.Cluster(2).Z));
        Assert.Equal((6, 1), (CudaLaunchAttribute.StartEarly().Id, CudaLaunchAttribute.StartEarly().X));
    }

    [Fact]
    public void Driver_Absent_SaysSoOnlyWhenAsked()
    {
        if (CudaDriver.Missing == null) return;
        Assert.Equal(0, CudaDriver.DeviceCount);
        var e = Assert.Throws<CudaException>(() => CudaContext.OfDevice(0));
        Assert.Contains(CudaDriver.Missing, e.Message);
        Assert.Throws<CudaException>(() => CudaContext.For(null));
    }

    [Theory]
    [InlineData(222, "update it")]
    [InlineData(209, "8.0 or later")]
    [InlineData(2, "free memory")]
    public void CudaException_SaysWhatFailedAndTheRemedy(int result, string remedy)
    {
        var message = CudaException.Of(result, "CUDA_ERROR_NAME, its description", "loading x").Message;
        Assert.StartsWith("loading x failed (CUDA_ERROR_NAME, its description)", message);
        Assert.Contains(remedy, message);
    }

    private static int Offset<T>(string field) => (int)Marshal.OffsetOf<T>(field);
}
