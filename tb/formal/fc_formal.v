// SPDX-License-Identifier: Apache-2.0
//
// Every input meets the weights of its place, and every sum leaves in its place: with one input at 1
// and all others at 0, output o of its vector is bias[o] + w[o][input], which differs for every pair.
// The ROMs are those that model/hardware/rom.py makes of
//
//   w[o][i] = 1 + o*IN + i, for input i in the order of the flattened tensor; bias[o] = o

`default_nettype none

module fc_formal #(
    parameter VECTORS      = 1,
    parameter POSITIONS    = 1,
    parameter CHANNELS     = 1,
    parameter LANES        = 1,
    parameter PIXELS       = 1,
    parameter OUT_FEATURES = 1,
    parameter PE           = 1,
    parameter SIMD         = 1,
    parameter INPUT_MAJOR  = 0,
    parameter FIFO_DEPTH   = 2,
    parameter LIMIT        = 16,  // clocks, see axis_progress
    parameter MARK_WIDTH   = $clog2(PIXELS*LANES + 1)
) (
    input wire                  clk,
    input wire                  rst,
    input wire [MARK_WIDTH-1:0] mark,
    input wire                  s_axis_tvalid,
    input wire                  m_axis_tready
);

    localparam IN        = POSITIONS * CHANNELS;
    localparam GROUPS    = (OUT_FEATURES + PE - 1) / PE;
    localparam ACC_WIDTH = $clog2(1 + OUT_FEATURES*IN + OUT_FEATURES) + 1;

    wire [8*PIXELS*LANES-1:0] s_axis_tdata;
    wire [32*PE-1:0]          m_axis_tdata;
    wire [31:0]               unused_signature;
    wire                      s_axis_tready, m_axis_tlast, m_axis_tvalid, dyed;
    wire [7:0]                vector, group, unused_part, y, position, channel;

    fc #(
        .VECTORS(VECTORS), .POSITIONS(POSITIONS), .CHANNELS(CHANNELS), .LANES(LANES),
        .PIXELS(PIXELS), .OUT_FEATURES(OUT_FEATURES), .PE(PE), .SIMD(SIMD), .INPUT_MAJOR(INPUT_MAJOR),
        .ACC_WIDTH(ACC_WIDTH), .OUT_WIDTH(32), .FIFO_DEPTH(FIFO_DEPTH),
        .WEIGHT_FILE("weight.mem"), .BIAS_FILE("bias.mem")
    ) dut (
        .clk(clk), .rst(rst),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .m_axis_tdata(m_axis_tdata), .m_axis_tlast(m_axis_tlast), .m_axis_tvalid(m_axis_tvalid),
        .m_axis_tready(m_axis_tready), .signature(unused_signature)
    );

    axis_rules #(.WIDTH(32*PE + 1)) rules (
        .clk(clk), .rst(rst), .payload({m_axis_tlast, m_axis_tdata}), .tvalid(m_axis_tvalid),
        .tready(m_axis_tready)
    );
    axis_progress #(.LIMIT(LIMIT)) progress (
        .clk(clk), .rst(rst), .s_tvalid(s_axis_tvalid), .s_tready(s_axis_tready),
        .m_tvalid(m_axis_tvalid), .m_tready(m_axis_tready)
    );
    axis_pixels #(
        .HEIGHT(VECTORS), .WIDTH(POSITIONS), .CHANNELS(CHANNELS), .LANES(LANES),
        .PIXELS(PIXELS), .ROWS(VECTORS), .COLS(GROUPS), .LIMIT(LIMIT)
    ) pixels (
        .clk(clk), .rst(rst), .mark(mark),
        .s_tdata(s_axis_tdata), .s_tvalid(s_axis_tvalid), .s_tready(s_axis_tready),
        .m_tvalid(m_axis_tvalid), .m_tready(m_axis_tready), .m_tlast(m_axis_tlast),
        .m_row(vector), .m_col(group), .m_part(unused_part),
        .dyed(dyed), .y(y), .x(position), .channel(channel)
    );

    wire [7:0] place = channel*POSITIONS[7:0] + position;  // in the flattened tensor

    genvar i;
    generate
        for (i = 0; i < PE; i = i + 1) begin : gen_out
            wire [7:0] out    = group*PE[7:0] + i;
            wire [7:0] weight = out*IN[7:0] + place + 1'b1;
            always @* if (m_axis_tvalid && out < OUT_FEATURES)
                assert (m_axis_tdata[32*i +: 32] == out + (dyed && y == vector ? weight : 8'd0));
        end
    endgenerate

endmodule

`default_nettype wire
