// SPDX-License-Identifier: Apache-2.0
//
// The windows of a pool, LANES channels at a time: what maxpool2d and avgpool2d have in common
// ahead of their arithmetic.
//
// A window is used for ceil(CHANNELS / LANES) beats. Tap t of the window of pixel p, lane l is at
// byte (t*OUT_PIXELS + p)*LANES + l. Lanes beyond the last channel are zero.
// Latency: that of sliding_window.

`default_nettype none

module pool_taps #(
    parameter HEIGHT     = 28,
    parameter WIDTH      = 28,
    parameter CHANNELS   = 3,
    parameter KERNEL     = 2,         // the window, see sliding_window
    parameter KERNEL_H   = KERNEL,
    parameter KERNEL_W   = KERNEL,
    parameter STRIDE     = 2,
    parameter STRIDE_H   = STRIDE,
    parameter STRIDE_W   = STRIDE,
    parameter PADDING    = 0,
    parameter PAD_TOP    = PADDING,
    parameter PAD_LEFT   = PADDING,
    parameter PAD_BOTTOM = PADDING,
    parameter PAD_RIGHT  = PADDING,
    parameter DILATION_H = 1,
    parameter DILATION_W = 1,
    parameter PAD_CODE   = 0,         // the code of zero
    parameter LANES      = CHANNELS,  // channels a beat
    parameter PIXELS     = 1,         // input pixels a beat, see sliding_window
    parameter PACE       = 1,         // clocks between windows, or fewer
    parameter OUT_PIXELS = (PIXELS > STRIDE_W) ? PIXELS / STRIDE_W : 1
) (
    input  wire                                            clk,
    input  wire                                            rst,
    input  wire [8*PIXELS*LANES-1:0]                       s_axis_tdata,
    input  wire                                            s_axis_tvalid,
    output wire                                            s_axis_tready,
    output wire [8*KERNEL_H*KERNEL_W*OUT_PIXELS*LANES-1:0] m_taps,
    output wire                                            m_taps_last,  // of the image
    output wire                                            m_taps_valid,
    input  wire                                            m_taps_ready
);

    localparam TAPS        = KERNEL_H * KERNEL_W;
    localparam GROUPS      = (CHANNELS + LANES - 1) / LANES;
    localparam GROUP_WIDTH = (GROUPS > 1) ? $clog2(GROUPS) : 1;
    localparam PADDED      = GROUPS * LANES;  // channels, with the unused lanes of the last beat
    localparam [GROUP_WIDTH-1:0] GROUP_LAST = GROUPS[GROUP_WIDTH-1:0] - 1'b1;

    wire [8*OUT_PIXELS*TAPS*CHANNELS-1:0] window;
    wire                                  window_last;

    reg  [GROUP_WIDTH-1:0] group_reg  = 0;
    wire                   group_last = group_reg == GROUP_LAST;

    // A window stays until its last group of channels has been taken.
    sliding_window #(
        .HEIGHT(HEIGHT), .WIDTH(WIDTH), .CHANNELS(CHANNELS),
        .KERNEL_H(KERNEL_H), .KERNEL_W(KERNEL_W), .STRIDE_H(STRIDE_H), .STRIDE_W(STRIDE_W),
        .PAD_TOP(PAD_TOP), .PAD_LEFT(PAD_LEFT), .PAD_BOTTOM(PAD_BOTTOM), .PAD_RIGHT(PAD_RIGHT),
        .DILATION_H(DILATION_H), .DILATION_W(DILATION_W), .PAD_CODE(PAD_CODE),
        .LANES(LANES), .PIXELS(PIXELS), .PACE(PACE)
    ) windows (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .m_window(window), .m_window_last(window_last), .m_window_valid(m_taps_valid),
        .m_window_ready(m_taps_ready && group_last)
    );

    assign m_taps_last = window_last && group_last;

    always @(posedge clk) begin
        if (m_taps_valid && m_taps_ready)
            group_reg <= group_last ? {GROUP_WIDTH{1'b0}} : group_reg + 1'b1;
        if (rst)
            group_reg <= 0;
    end

    genvar pixel, tap;
    generate
        for (pixel = 0; pixel < OUT_PIXELS; pixel = pixel + 1) begin : gen_pixel
            for (tap = 0; tap < TAPS; tap = tap + 1) begin : gen_tap
                wire [8*PADDED-1:0] channels;
                assign channels[8*CHANNELS-1:0] =
                    window[8*CHANNELS*(pixel*TAPS + tap) +: 8*CHANNELS];
                if (PADDED > CHANNELS) begin : gen_pad
                    assign channels[8*PADDED-1:8*CHANNELS] = {8*(PADDED-CHANNELS){1'b0}};
                end
                if (GROUPS > 1) begin : gen_group
                    assign m_taps[8*LANES*(tap*OUT_PIXELS + pixel) +: 8*LANES] =
                        channels[8*LANES*group_reg +: 8*LANES];
                end else begin : gen_whole
                    assign m_taps[8*LANES*(tap*OUT_PIXELS + pixel) +: 8*LANES] = channels;
                end
            end
        end
    endgenerate

endmodule

`default_nettype wire
